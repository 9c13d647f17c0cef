"""What the parity scripts hold against each other: numbers and token ids."""

import transformers


def close(name, found, expected, tolerance=1e-4):
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: largest difference {error:.2e} of the largest value")
    assert error <= tolerance, name


def same_in_all_versions(tokenizer, text):
    """Soup cuts text as transformers 5 does. transformers 4 differs from it, and its two tokenizers from each other."""
    if transformers.__version__.startswith("5."):
        return True
    if any(text.count(token) != text.lower().count(token) for token in ("<|startoftext|>", "<|endoftext|>")):
        return False  # in capitals they are special tokens to 4 and plain text to 5
    return tokenizer.is_fast or (text.isascii() and text.isprintable())  # the slow one cleans in its own way


def same_ids(tokenizer, strings, soup_ids):
    length = tokenizer.model_max_length
    ids = [tokenizer(s, padding="max_length", truncation=True, max_length=length)["input_ids"] for s in strings]
    compared = [i for i in range(len(strings)) if same_in_all_versions(tokenizer, strings[i])]
    different = [i for i in compared if ids[i] != soup_ids[i]]
    for i in different[:5]:
        print(repr(strings[i][:80]), ids[i], soup_ids[i])
    print(f"{type(tokenizer).__name__}: {len(different)} of {len(compared)} strings differ")
    assert len(compared) > 500 and not different
