find_package(ncnn REQUIRED)
target_link_libraries(classify PRIVATE ncnn)
