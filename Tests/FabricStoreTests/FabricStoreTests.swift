// FabricStoreTests
