#include "CFabricSQLite.h"
