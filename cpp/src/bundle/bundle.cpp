#include "bundle/bundle.hpp"

#include <stdexcept>
#include <system_error>

#include "bundle/integrity.hpp"
#include "bundle/onnx_metadata.hpp"
#include "error.hpp"
#include "files.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "fleetnet.json";
/// The key of the manifest in an ONNX file, where it is stored without its artifacts.
constexpr const char* kMetadataKey = "fleetnet";
constexpr std::uintmax_t kMaxManifest = std::uintmax_t{64} << 20;

[[noreturn]] void refuse(const std::string& message) { throw Error(Code::bundle, message); }

/// Read a whole file; throws std::system_error.
std::vector<std::uint8_t> whole(const fs::path& path) {
    std::vector<std::uint8_t> content;
    std::error_code unknown;
    const std::uintmax_t size = fs::file_size(path, unknown);
    if (!unknown) content.reserve(static_cast<std::size_t>(size));
    read_pieces(path, [&](const std::uint8_t* piece, std::size_t length) {
        content.insert(content.end(), piece, piece + length);
    });
    return content;
}

std::string manifest_of_folder(const fs::path& folder) {
    const fs::path file = folder / kManifest;
    std::error_code gone;
    if (!fs::is_directory(folder, gone) || !fs::is_regular_file(file, gone)) {
        refuse(text_of(folder) + " is not a bundle: a bundle is a folder with " + kManifest +
               " in it, as 'fleetnet export' writes it");
    }
    try {
        if (fs::file_size(file) > kMaxManifest) {
            refuse(text_of(file) + " is larger than 64 MiB");
        }
        const std::vector<std::uint8_t> text = whole(file);
        return {text.begin(), text.end()};
    } catch (const std::system_error& error) {
        refuse("cannot read " + text_of(file) + ": " + said(error.code()));
    }
}

std::string manifest_of_onnx(const std::string& path, Bytes content) {
    std::optional<std::string> text;
    try {
        text = onnx_metadata(content, kMetadataKey);
    } catch (const std::invalid_argument& error) {
        refuse("cannot read " + path + ": " + error.what());
    }
    if (!text) {
        refuse(path + " has no Fleetnet metadata: it was not written by 'fleetnet export'");
    }
    return *text;
}

Content content_of_onnx(const std::string& path) {
    try {
        return std::make_shared<const std::vector<std::uint8_t>>(whole(path_of(path)));
    } catch (const std::system_error& error) {
        refuse("cannot read " + path + ": [Errno " + std::to_string(error.code().value()) + "] " +
               said(error.code()) + ": " + repr(path));
    }
}

}  // namespace

Bundle Bundle::load(const std::string& given) {
    Bundle bundle;
    fs::path path = path_of(normal(given));
    if (path.filename() == kManifest) {
        path = path.has_parent_path() ? path.parent_path() : fs::path(".");
    }
    bundle.path_ = text_of(path);
    std::error_code gone;
    if (fs::is_regular_file(path, gone) && path.extension() == ".onnx") {
        bundle.lone_ = true;
        bundle.lone_content_ = content_of_onnx(bundle.path_);
        bundle.manifest_ =
            Manifest::parse(manifest_of_onnx(bundle.path_, *bundle.lone_content_), bundle.path_);
        Artifact artifact;
        artifact.format = "onnx";
        artifact.precision = "fp32";
        artifact.files.push_back({text_of(path.filename()), "", bundle.lone_content_->size()});
        bundle.lone_artifact_.push_back(std::move(artifact));
        return bundle;
    }
    if (!fs::exists(path, gone)) refuse("no such bundle: " + bundle.path_);
    bundle.text_ = manifest_of_folder(path);
    bundle.manifest_ = Manifest::parse(bundle.text_, text_of(path / kManifest));
    return bundle;
}

bool Bundle::renew() {
    if (lone_) return false;
    Bundle there = load(path_);
    if (there.text_ == text_) return false;
    *this = std::move(there);
    return true;
}

const Artifact* Bundle::find(const std::string& format, const std::string& precision,
                             std::optional<int> batch) const {
    for (const Artifact& artifact : artifacts()) {
        if (artifact.format == format && artifact.precision == precision &&
            artifact.batch == batch) {
            return &artifact;
        }
    }
    return nullptr;
}

std::vector<Content> Bundle::contents(const std::string& format,
                                      const std::string& precision) const {
    const Artifact* found = find(format, precision);
    if (!found) {
        const std::string wanted = named(format, precision);
        if (lone_) {
            refuse(path_ + " is only an ONNX file, without " + wanted +
                   ": give the bundle's folder");
        }
        std::vector<std::string> there;
        for (const Artifact& each : artifacts()) {
            there.push_back(named(each.format, each.precision, each.batch));
        }
        throw WrongFile(path_ + " has no " + wanted +
                        " (it has: " + (there.empty() ? "nothing" : joined(there, ", ")) + ")");
    }
    std::vector<Content> contents;
    if (lone_) {
        contents.push_back(lone_content_ ? lone_content_ : content_of_onnx(path_));
    } else {
        for (const ArtifactFile& file : found->files) contents.push_back(checked(path_, file));
    }
    // An engine would look for them in the folder that the program happens to be in.
    if (format == "onnx" && has_external_data(*contents.front())) {
        refuse(file_path(*found) +
               ": its weights are in other files, which nothing checks; export the bundle anew");
    }
    return contents;
}

std::string Bundle::file_path(const Artifact& artifact) const {
    return lone_ ? path_ : text_of(path_of(path_) / path_of(artifact.files.front().name));
}

}  // namespace fleetnet
