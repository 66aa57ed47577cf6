/* Everything that the engine includes from outside of itself. */
#include "../checked.h"
#include "../core.h"
#include "../rng.h"
#include <math.h>
#include <string.h>
