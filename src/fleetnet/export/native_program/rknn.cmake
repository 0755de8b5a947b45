find_path(RKNN_INCLUDE rknn_api.h REQUIRED)
find_library(RKNN_LIBRARY rknnrt REQUIRED)
target_include_directories(classify PRIVATE ${RKNN_INCLUDE})
target_link_libraries(classify PRIVATE ${RKNN_LIBRARY})
