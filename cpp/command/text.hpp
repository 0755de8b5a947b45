// Text as Python sees it: code points, which can be counted, measured, escaped and sorted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fleetnet::command {

using Text = std::u32string;

/// Decode UTF-8; a byte that is none becomes U+DC00 + the byte, as Python reads file names.
Text text_of(std::string_view bytes);

/// Encode as UTF-8; what text_of() made of single bytes becomes these bytes again.
std::string bytes_of(const Text& text);

/// Encode as UTF-8 that is always valid: halves of characters become `\udcXX`.
std::string shown(const Text& text);

/// Escape what a terminal would act on or cannot show; see fleetnet.labels.printable.
Text printable(const Text& text);
std::string printable(std::string_view bytes);

/// Python's repr() of a string.
Text quoted(const Text& text);

/// Return how many cells of a terminal a text takes, as rich.cells counts them.
std::size_t cell_length(const Text& text);

/// Return a text in at most `columns` cells, with an ellipsis where it is cut.
Text shorten(const Text& text, std::size_t columns);

Text lower(Text text);
/// Case folding, as far as its result can be ASCII.
Text folded(Text text);
bool is_alphanumeric(char32_t sign);
bool is_space(char32_t sign);
/// Return a decimal digit's value in any script, or -1.
int decimal(char32_t sign);

/// A number with commas at the thousands.
std::string grouped(std::size_t number);

}  // namespace fleetnet::command
