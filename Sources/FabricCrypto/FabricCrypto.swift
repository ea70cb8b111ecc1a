// FabricCrypto
