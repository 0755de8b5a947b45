// Names the most probable class of each image: classify BUNDLE IMAGE...
#include <fleetnet.h>

#include <cstdio>
#include <memory>

namespace {

int fail() {
  std::fprintf(stderr, "error: %s\n", fleetnet_last_error());
  return 2;
}

} // namespace

int main(int count, char **arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: %s BUNDLE IMAGE...\n", arguments[0]);
    return 2;
  }
  fleetnet_options options = {};
  options.size =
      sizeof options; // other fields may choose engine, precision and threads
  options.reject = 1; // if the bundle says when an answer does not count
  fleetnet_classifier *opened = nullptr;
  if (fleetnet_open(arguments[1], &options, &opened) != FLEETNET_SUCCESS)
    return fail();
  const std::unique_ptr<fleetnet_classifier, decltype(&fleetnet_close)>
      classifier(opened, fleetnet_close);

  for (int i = 2; i < count; ++i) {
    fleetnet_score best;
    size_t found = 0;
    if (fleetnet_classify_file(opened, arguments[i], 1, &best, &found) !=
        FLEETNET_SUCCESS) {
      std::fprintf(stderr, "error: %s: %s\n", arguments[i],
                   fleetnet_last_error());
      return 2;
    }
    const char *name =
        fleetnet_class_name(opened, static_cast<size_t>(best.index));
    std::printf("%s: %s%s %.4f\n", arguments[i], found ? "" : "rejected: ", name,
                best.probability);
  }
  return 0;
}
