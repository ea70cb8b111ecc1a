// FabricCaptureTests
