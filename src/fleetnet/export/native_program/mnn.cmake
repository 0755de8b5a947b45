find_path(MNN_INCLUDE MNN/expr/Module.hpp REQUIRED)
find_library(MNN_LIBRARY MNN REQUIRED)
target_include_directories(classify PRIVATE ${MNN_INCLUDE})
target_link_libraries(classify PRIVATE ${MNN_LIBRARY})
