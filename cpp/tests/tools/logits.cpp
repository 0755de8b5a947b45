// Says a network's logits, for comparison with other systems: fleetnet-logits BUNDLE.
//
// Each line of standard input names a file. The answer is a line of its logits, or of "error" and
// why. In fp32, however large a JPEG is exact.
#include <cstdio>
#include <iostream>
#include <string>

#include "classifier.hpp"
#include "error.hpp"
#include "images/image.hpp"

int main(int count, char** arguments) {
    using namespace fleetnet;
    if (count != 2) {
        std::fprintf(stderr, "usage: fleetnet-logits BUNDLE\n");
        return 2;
    }
    try {
        ClassifierOptions options;
        options.exact = true;
        const Classifier classifier(Bundle::load(arguments[1]), options);
        std::string path;
        while (std::getline(std::cin, path)) {
            if (!path.empty() && path.back() == '\r') path.pop_back();
            try {
                for (const float logit : classifier.classify(read_image_file(path), 1).logits) {
                    std::printf("%.9g ", static_cast<double>(logit));
                }
                std::printf("\n");
            } catch (const Error& error) {
                std::printf("error %s\n", error.what());
            }
            std::fflush(stdout);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
    return 0;
}
