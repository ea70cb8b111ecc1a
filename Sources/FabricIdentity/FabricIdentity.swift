// FabricIdentity
