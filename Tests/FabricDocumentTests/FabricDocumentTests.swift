// FabricDocumentTests
