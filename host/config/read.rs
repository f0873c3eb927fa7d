pub struct ConfigError; pub struct Finding; pub fn load() {}
