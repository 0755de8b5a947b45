find_path(TNN_INCLUDE tnn/core/tnn.h REQUIRED)
find_library(TNN_LIBRARY TNN REQUIRED)
target_include_directories(classify PRIVATE ${TNN_INCLUDE})
target_link_libraries(classify PRIVATE ${TNN_LIBRARY})
