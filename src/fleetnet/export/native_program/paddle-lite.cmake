find_path(PADDLE_LITE_INCLUDE paddle_api.h REQUIRED)
find_library(PADDLE_LITE_LIBRARY NAMES paddle_light_api_shared paddle_full_api_shared REQUIRED)
target_include_directories(classify PRIVATE ${PADDLE_LITE_INCLUDE})
target_link_libraries(classify PRIVATE ${PADDLE_LITE_LIBRARY})
