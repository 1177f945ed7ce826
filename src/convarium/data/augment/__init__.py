"""Operations of augmentation on batches; each gives a sample the same result in any batch."""
