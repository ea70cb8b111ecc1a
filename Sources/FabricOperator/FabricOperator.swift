// FabricOperator
