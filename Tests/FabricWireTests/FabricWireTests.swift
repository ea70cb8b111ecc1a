// FabricWireTests
