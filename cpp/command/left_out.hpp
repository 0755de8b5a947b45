// Counts of what a walk through folders skips, to be reported in one line.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "text.hpp"

namespace fleetnet::command {

class LeftOut {
   public:
    /// Tell whether a file or folder is skipped because of its name, and count it if so.
    bool passes_over(const std::string& name);
    /// Count a file whose name is not that of an image.
    void add_file(const std::string& name);
    /// Count a pipe, a socket or a device.
    void add_special() { ++special_; }
    /// Count a link to a folder that contains it, or that was visited before by another link.
    void add_link() { ++links_; }

    /// Return all of it on one line; empty if nothing relevant was left out.
    std::string line() const;

   private:
    std::string endings() const;

    std::map<Text, std::size_t> endings_;
    std::map<Text, std::size_t> system_folders_;
    std::size_t hidden_ = 0;
    std::size_t special_ = 0;
    std::size_t links_ = 0;
};

}  // namespace fleetnet::command
