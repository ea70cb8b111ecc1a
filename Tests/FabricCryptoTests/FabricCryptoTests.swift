// FabricCryptoTests
