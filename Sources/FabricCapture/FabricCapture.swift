// FabricCapture
