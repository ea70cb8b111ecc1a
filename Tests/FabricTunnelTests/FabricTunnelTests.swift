// FabricTunnelTests
