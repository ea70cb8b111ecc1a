// FabricControlTests
