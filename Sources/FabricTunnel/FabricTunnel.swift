// FabricTunnel
