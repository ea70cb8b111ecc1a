// FabricScenarioTests
