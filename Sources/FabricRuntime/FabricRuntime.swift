// FabricRuntime
