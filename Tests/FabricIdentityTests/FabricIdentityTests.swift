// FabricIdentityTests
