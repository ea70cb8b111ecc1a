// FabricControl
