address: ada@example.com
