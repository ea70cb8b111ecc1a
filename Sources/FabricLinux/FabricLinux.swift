// FabricLinux
