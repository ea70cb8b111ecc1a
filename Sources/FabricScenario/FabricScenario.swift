// FabricScenario
