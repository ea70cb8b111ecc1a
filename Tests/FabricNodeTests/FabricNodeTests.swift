// FabricNodeTests
