// FabricPolicy
