// Which block of a network a tensor belongs to, told from its name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

// For each tensor name the name of its block, a prefix of it. Components of names are parted by "." (or "/", as in
// HDF5). The rule:
// - a name with a number as a component belongs to the block that ends with the first number: down_blocks.0,
//   text_model.encoder.layers.3, model.layers.12; but what is one block for its makers is one here, numbers inside or
//   not: mid_block, middle_block, time_embed, label_emb;
// - prefixes under which such blocks lie (text_model, text_model.encoder, model) are no blocks; a name without number
//   belongs to its first component below them: conv_in, time_embedding, text_model.final_layer_norm, model.norm.
std::vector<std::string> block_names(std::span<const std::string> tensors);

// Less in the order of people: numbers in names by value, so that layers.10 comes after layers.9.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace soup
