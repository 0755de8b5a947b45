#include "bundle/bundle.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "bundle/json.hpp"
#include "bundle/replacement.hpp"
#include "error.hpp"
#include "sha256.hpp"
#include "words.hpp"

using namespace fleetnet;
namespace fs = std::filesystem;

namespace {

const std::string kNetwork = std::string(FLEETNET_CONFORMANCE) + "/network.onnx";

std::string digest(const std::string& text) {
    Sha256 hash;
    hash.add(text.data(), text.size());
    return hash.hex();
}

std::string manifest(const std::string& artifacts, const std::string& version = "\"2.0\"",
                     const std::string& more = "") {
    return R"({"format": "fleetnet-bundle", "format_version": )" + version + more +
           R"(, "model": {"name": "M", "num_classes": 2}, "classes": ["a", "b"],
            "preprocess": {"resize": 8, "crop": 8, "interpolation": "bicubic",
                           "mean": [0, 0, 0], "std": [1, 1, 1]},
            "input": {"name": "pixels", "dtype": "uint8", "shape": [null, 8, 8, 3]},
            "outputs": [], "artifacts": [)" +
           artifacts + "]}";
}

std::string artifact(const std::string& name, const std::string& content) {
    return R"({"format": "onnx", "files": [{"name": ")" + name + R"(", "sha256": ")" +
           digest(content) + R"(", "bytes": )" + std::to_string(content.size()) + "}]}";
}

/// A folder that goes with the test.
struct Folder {
    fs::path path = fs::temp_directory_path() / ("fleetnet-bundle-" + std::to_string(std::rand()));

    Folder() { fs::create_directories(path); }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
    void write(const std::string& name, const std::string& content) const {
        std::ofstream(path / name, std::ios::binary) << content;
    }
};

template <typename Work>
std::string error_of(const Work& work) {
    try {
        work();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

std::string refusal(const std::string& json) {
    return error_of([&] { Manifest::parse(json, "M"); });
}

}  // namespace

TEST_CASE("SHA-256 is the standard's") {
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("a lone ONNX file is a bundle of one artifact") {
    const Bundle bundle = Bundle::load(kNetwork);
    CHECK(bundle.manifest().model == "MobileNetV2_x0_25");
    CHECK(bundle.manifest().classes.size() == 4);
    CHECK(bundle.find("onnx", "fp32") != nullptr);
    CHECK(bundle.contents("onnx", "fp32").front()->size() == 984314);
    CHECK(error_of([&] { bundle.contents("onnx", "int8"); }) ==
          bundle.path() + " is only an ONNX file, without onnx in int8: give the bundle's folder");
}

TEST_CASE("files are given as they were hashed") {
    const Folder folder;
    folder.write("model.onnx", "the graph");
    folder.write("fleetnet.json", manifest(artifact("model.onnx", "the graph")));
    const Bundle bundle = Bundle::load((folder.path / "fleetnet.json").u8string());
    const Content content = bundle.contents("onnx", "fp32").front();
    CHECK(std::string(content->begin(), content->end()) == "the graph");

    // Another file, a longer one, none, and a link.
    for (const char* other : {"the grapf", "the graph and much more"}) {
        folder.write("model.onnx", other);
        CHECK(error_of([&] { bundle.contents("onnx", "fp32"); }).find("is not the file that was") !=
              std::string::npos);
    }
    fs::remove(folder.path / "model.onnx");
    CHECK(error_of([&] { bundle.contents("onnx", "fp32"); }).find("is missing: the bundle is") !=
          std::string::npos);
}

TEST_CASE("newer minor versions may have more fields, except where answers depend on them") {
    CHECK(Manifest::parse(manifest("", "\"2.7\"", R"(, "future": {"x": 1})"), "M").model == "M");
    CHECK(refusal(manifest("", "\"2.0\"", R"(, "future": 1)")) ==
          "M: future: nothing of this name is known");
    CHECK(refusal(manifest("", "\"4.0\"")) ==
          "M: format version '4.0', but this fleetnet reads versions 1, 2.x and 3.x; update "
          "fleetnet");
    std::string json = manifest("", "\"2.7\"");
    json.replace(json.find("\"crop\""), 6, "\"gamma\": 2, \"crop\"");
    CHECK(refusal(json) == "M: preprocess: unknown preprocess field 'gamma'");
}

TEST_CASE("names twice, depth and what is no JSON are refused") {
    CHECK(refusal(R"({"a": 1, "a": 2})") == "M: 'a' is there twice: the bundle is damaged");
    CHECK(refusal("{") == "M is not valid JSON: the bundle is damaged");
    CHECK(refusal("[]") == "M is not a Fleetnet manifest");
    const std::string deep = R"({"format": "fleetnet-bundle", "x": )" + std::string(70, '[') +
                             std::string(70, ']') + "}";
    CHECK(refusal(deep) == "M: nested deeper than 64");
    CHECK(refusal(std::string(100000, '[')) == "M is not valid JSON: the bundle is damaged");
}

TEST_CASE("numbers and texts are shown as Python shows them") {
    CHECK(repr(0.1) == "0.1");
    CHECK(repr(1e22) == "1e+22");
    CHECK(repr(123456789012345680.0) == "1.2345678901234568e+17");
    CHECK(repr(100.0) == "100.0");
    CHECK(repr(0.0001) == "0.0001");
    CHECK(repr(-0.00001) == "-1e-05");
    CHECK(repr(0.0) == "0.0");
    CHECK(repr(-0.0) == "-0.0");
    CHECK(repr(std::string("it's\n\xc3\xa4\x01")) == "\"it's\\n\xc3\xa4\\x01\"");
    CHECK(count(1234567, "class") == "1,234,567 classes");
}

TEST_CASE("a manifest of too many values is refused before they fill the memory") {
    std::string zeros;
    for (int i = 0; i < 4'000'000; ++i) zeros += "0,";
    const std::string text = manifest("", "\"2.0\"", ", \"metrics\": {\"a\": [" + zeros + "0]}");
    CHECK(error_of([&] {
              Manifest::parse(text, "there");
          }).rfind("there has more than 4000000 values", 0) == 0);
}

TEST_CASE("a bundle that is replaced after its manifest was read is read anew") {
    const Folder folder;
    const auto put = [&](const std::string& content) {
        folder.write("model.onnx", content);
        folder.write("fleetnet.json", manifest(artifact("model.onnx", content)));
    };
    put("old");
    Bundle bundle = Bundle::load(folder.path.string());
    std::vector<std::string> found;
    const auto use = [&](const Bundle& there) {
        const Content content = there.contents("onnx", "fp32").front();
        found.emplace_back(content->begin(), content->end());
    };
    CHECK_FALSE(bundle.renew());
    put("new");
    while_replaced(bundle, use);
    CHECK(found == std::vector<std::string>{"new"});

    // Another one each time: a few times, and then no more.
    int tries = 0;
    const std::string error = error_of([&] {
        while_replaced(bundle, [&](const Bundle& there) {
            put(std::to_string(++tries));
            use(there);
        });
    });
    CHECK(error.find("is not the file that was exported") != std::string::npos);
    CHECK(tries == 6);
}

TEST_CASE("a bundle that is damaged is refused after one more look, with the same line") {
    const Folder folder;
    folder.write("model.onnx", "damaged");
    folder.write("fleetnet.json", manifest(artifact("model.onnx", "whole")));
    Bundle bundle = Bundle::load(folder.path.string());
    const std::string expected = error_of([&] { bundle.contents("onnx", "fp32"); });
    int tries = 0;
    const std::string error = error_of([&] {
        while_replaced(bundle, [&](const Bundle& there) {
            ++tries;
            there.contents("onnx", "fp32");
        });
    });
    CHECK(error == expected);
    CHECK(tries == 2);
    CHECK_THROWS_AS(while_replaced(bundle,
                                   [&](const Bundle&) {
                                       ++tries;
                                       throw Error(Code::bundle, "no graph");
                                   }),
                    Error);
    CHECK(tries == 3);
}

TEST_CASE("what cannot be printed is what Python cannot print") {
    CHECK(is_printable(std::string("photo é 照片 𝄞")));
    // A control, a space that does not break, one that turns writing, and one that is not assigned.
    for (const char* text : {"\x1b", "\xC2\xA0", "\xE2\x80\xAE", "\xCD\xB8"}) {
        CHECK_FALSE(is_printable(std::string(text)));
    }
    CHECK(repr(std::string("a\xCD\xB8")) == "'a\\u0378'");
}
