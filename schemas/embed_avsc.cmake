# Writes every *.avsc in FILES as a C string: pair.avsc becomes sl_pair_schema_json.
set(TEXT "/* made by schemas/embed_avsc.cmake */\nextern const char sl_pair_schema_json[];\nextern const char sl_model_schema_json[];\n")
foreach(FILE ${FILES})
  get_filename_component(NAME ${FILE} NAME_WE)
  file(READ ${FILE} JSON HEX)
  string(REGEX REPLACE "(..)" "0x\\1," JSON "${JSON}")
  string(APPEND TEXT "const char sl_${NAME}_schema_json[] = { ${JSON} 0 };\n")
endforeach()
file(WRITE ${OUT} "${TEXT}")
