// FabricDocument
