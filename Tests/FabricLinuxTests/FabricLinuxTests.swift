// FabricLinuxTests
