#include <MNN/expr/Module.hpp>
