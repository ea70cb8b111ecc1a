// FabricRuntimeTests
