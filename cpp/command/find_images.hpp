// Finding image files: those that a user names, those below a folder, and those that match a glob.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "left_out.hpp"
#include "paths.hpp"

namespace fleetnet::command {

/// Tell whether a file's extension is that of an image.
bool is_image_name(const std::string& name);

struct Found {
    std::string path;
    std::vector<std::string> names;  ///< from the folder on where the walk began
    bool is_file;                    ///< false for a folder that cannot be read
};

/// Finds files below a folder, sorted, however deep, one after another.
///
/// Links to folders are followed, but not to a folder that the link is in, nor twice to the same
/// folder. Hidden files and folders are skipped, and those of the operating system. A folder that
/// cannot be read is returned: reading it as an image gives the reason.
class Walk {
   public:
    Walk(const std::string& folder, LeftOut& left_out);
    std::optional<Found> next();

   private:
    struct Level {
        Found folder;
        std::vector<std::string> names;  // what is left, last first
    };

    bool enter(const Found& folder);

    LeftOut& left_out_;
    std::vector<Identity> above_;
    std::vector<Identity> linked_;
    std::vector<Level> levels_;
    std::optional<Found> entered_;
};

/// Expands files, folders, globs and `-` to paths, one after another.
class ImageFinder {
   public:
    ImageFinder(std::vector<std::string> patterns, LeftOut& left_out);
    ~ImageFinder();

    /// Return the next path; none at the end.
    ///
    /// Throws Error(Code::data) for a folder or a glob without images.
    std::optional<std::string> next();

   private:
    class Source;

    void open(const std::string& pattern);

    std::vector<std::string> patterns_;
    LeftOut& left_out_;
    std::size_t place_ = 0;
    std::unique_ptr<Source> source_;
};

}  // namespace fleetnet::command
