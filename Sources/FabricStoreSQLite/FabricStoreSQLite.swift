// FabricStoreSQLite
