// Any text as a manifest, and any bytes as an ONNX file with one: a manifest, or a refusal in one
// line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "bundle/bundle.hpp"
#include "bundle/onnx_metadata.hpp"
#include "error.hpp"

namespace {

void parse(const std::string& text) {
    try {
        const auto manifest = fleetnet::Manifest::parse(text, "manifest");
        // What is let through can be relied on by those who compute with it.
        if (manifest.classes.empty() || manifest.preprocess.crop < 1 ||
            !(manifest.temperature > 0)) {
            std::abort();
        }
    } catch (const fleetnet::Error& error) {
        if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    parse({data, data + size});
    try {
        const auto text = fleetnet::onnx_metadata(fleetnet::Bytes(data, size), "fleetnet");
        if (text) parse(*text);
    } catch (const std::invalid_argument&) {
        // No ONNX file.
    }
    return 0;
}
