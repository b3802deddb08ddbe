DROP TABLE search_list, search_mark;
