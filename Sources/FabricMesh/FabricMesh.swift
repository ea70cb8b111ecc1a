// FabricMesh
