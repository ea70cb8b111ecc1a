// FabricNode
