#include "engines/fitting.hpp"

#include "error.hpp"
#include "words.hpp"

namespace fleetnet {

void check_graph(const Bundle& bundle, const std::string& path, std::size_t inputs,
                 const Sides& shape, bool gives_logits) {
    if (inputs != 1) {
        throw Error(Code::bundle, path + " takes " + std::to_string(inputs) +
                                      " inputs instead of one: export the bundle anew");
    }
    const std::int64_t side = bundle.manifest().preprocess.crop;
    if (shape != Sides{side, side, 3}) {
        std::vector<std::string> sides;
        for (const auto& each : shape) sides.push_back(each ? std::to_string(*each) : "None");
        const std::string wanted = std::to_string(side);
        const std::string taken = sides.empty() ? "any shape" : joined(sides, "×");
        throw Error(Code::bundle, path + " takes images of " + taken + ", the manifest says " +
                                      wanted + "×" + wanted + "×3: export the bundle anew");
    }
    if (!gives_logits) {
        throw Error(Code::bundle, path + " gives no logits: export the bundle anew");
    }
}

void check_answers(const Bundle& bundle, std::int64_t logits_per_image) {
    const auto classes = static_cast<std::int64_t>(bundle.manifest().classes.size());
    if (logits_per_image == classes) return;
    throw Error(Code::bundle,
                "the network gives " + std::to_string(logits_per_image) + " logits per image for " +
                    std::to_string(classes) +
                    " classes: the bundle is not what its manifest says; export it anew");
}

}  // namespace fleetnet
