{"key":"e45ee306e7f82e0c","algorithm":"ed25519","signature":"A2t8zWeFO+RMPunCF/VWdJWtqrqQLpiHP/ca0g4/uSeHru/z+sqweyPNp/MtQN9Z2JUGLA/udhh0PAUEHnLTDA=="}
