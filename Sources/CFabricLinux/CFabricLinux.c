#include "CFabricLinux.h"
