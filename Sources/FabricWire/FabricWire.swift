// FabricWire
