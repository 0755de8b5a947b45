# Builds that watch themselves: FLEETNET_SANITIZE, and coverage for libFuzzer in FLEETNET_FUZZ.
# The C core is built so too, and therefore this comes before everything else.

if(FLEETNET_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "FLEETNET_FUZZ needs Clang: take the preset fuzz")
endif()

if(FLEETNET_SANITIZE)
  # What is wrong ends the program, so that no test passes with it.
  add_compile_options(-fsanitize=${FLEETNET_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${FLEETNET_SANITIZE})
endif()

if(FLEETNET_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
