// FabricCoreTests
